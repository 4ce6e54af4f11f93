#include "sync/state.h"
