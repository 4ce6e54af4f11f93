#include "imapc/pipeline.h"
