// Three worlds chase each other along one figure-eight. Where they are, and where they have
// been, is computed in Python for each frame: bodies.inc comes with the frame.
#version 3.7;
global_settings { assumed_gamma 1.0 max_trace_level 6 }

#include "stage.inc"
#include "worlds.inc"
#include "bodies.inc"

World(0, "amber.jpg", <1.00, 0.42, 0.06>)
World(1, "azure.jpg", <0.06, 0.42, 1.00>)
World(2, "rose.jpg", <1.00, 0.10, 0.26>)
