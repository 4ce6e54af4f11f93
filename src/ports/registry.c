#include "ports/registry.h"
