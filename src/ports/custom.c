#include "ports/custom.h"
