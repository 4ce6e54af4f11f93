#include "sync/flags.h"
