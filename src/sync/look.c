#include "sync/look.h"
