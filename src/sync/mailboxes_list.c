#include "sync/mailboxes.h"
