#include "ports/machine.h"
