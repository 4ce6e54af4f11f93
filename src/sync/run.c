#include "sync/sync.h"
