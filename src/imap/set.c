#include "imap/set.h"
