#include "ports/bind.h"
