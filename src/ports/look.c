#include "ports/look.h"
