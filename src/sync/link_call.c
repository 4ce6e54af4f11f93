#include "sync/link.h"
