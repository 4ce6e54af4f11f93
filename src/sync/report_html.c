#include "sync/report.h"
