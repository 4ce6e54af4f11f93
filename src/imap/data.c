#include "imap/data.h"
