// Elementary functions with the same bits on every machine: our own polynomials, scalar forms. They stand for libm wherever
// a value reaches a logit, load-time tables included. The vector forms in simd/ have the same bits.
#pragma once

namespace kinglet {

float exact_fma(float a, float b, float c);  // a * b + c rounded once, with or without FMA hardware
float exp_f32(float x);
float log_f32(float x);
float tanh_f32(float x);
double exp_f64(double x);
double log_f64(double x);
double pow_f64(double base, double exponent);  // base > 0
double sin_f64(double x);                      // |x| up to 2^40: reduced in extended precision
double cos_f64(double x);

}  // namespace kinglet
