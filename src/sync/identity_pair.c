#include "sync/identity.h"
