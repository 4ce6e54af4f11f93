#include "ports/probe.h"
