// A sunflower of pearls on a wave, which turns once in the animation; the clock moves it all.
#version 3.7;
global_settings { assumed_gamma 1.0 }
#include "colors.inc"

#declare Pearls = 180;
#declare Golden = 360 * (1 - 1 / 1.6180339887);

camera { location <0, 6.2, -6.4> look_at <0, 0, -0.35> right x * image_width / image_height angle 38 }
light_source { <-6, 9, -5> rgb 1.1 }
light_source { <7, 4, 3> rgb <0.25, 0.3, 0.5> shadowless }
background { rgb <0.012, 0.014, 0.03> }

#for (I, 1, Pearls)
  #declare Far = sqrt(I / Pearls);
  #declare Wave = sin(2 * pi * (clock - 1.5 * Far));
  sphere {
    <2.3 * Far, 0.28 * Wave, 0>, 0.05 + 0.085 * Far
    rotate y * (I * Golden + 360 * clock)
    pigment { color CHSV2RGB(<200 + 150 * Far + 25 * Wave, 0.75, 0.95>) }
    finish { ambient 0.04 diffuse 0.75 phong 0.6 phong_size 60 reflection 0.06 }
  }
#end

plane {
  y, -0.45
  pigment { rgb <0.02, 0.024, 0.045> }
  finish { ambient 0 diffuse 0.6 reflection 0.12 }
}
