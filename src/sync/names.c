#include "sync/names.h"
