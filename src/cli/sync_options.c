#include "cli/sync.h"
