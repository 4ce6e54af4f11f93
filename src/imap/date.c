#include "imap/date.h"
