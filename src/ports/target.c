#include "ports/target.h"
