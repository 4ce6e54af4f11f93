#include "sync/journal.h"
