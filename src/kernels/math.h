// Elementary functions with the same bits on every machine: our own polynomials, scalar forms. They stand for libm
// wherever a value reaches a logit, load-time tables included. The vector forms in simd/ have the same bits. Errors
// given in units in the last place are bounds that the tests check. NaN gives NaN.
#pragma once

namespace kinglet {

float exact_fma(float a, float b, float c);  // a * b + c rounded once, with or without FMA hardware
float sqrt_f32(float x);                     // correctly rounded

float exp_f32(float x);       // 1 ulp; 0 below -87 (no subnormal results), infinity from 88.7229 on
float log_f32(float x);       // 1 ulp; 0 -> -infinity, negative -> NaN
float tanh_f32(float x);      // 2 ulp
float silu_f32(float x);      // x / (1 + exp(-x))
float sigmoid_f32(float x);   // 1 / (1 + exp(-x))
float softplus_f32(float x);  // log(1 + exp(x)), 3 ulp
float gelu_tanh_f32(float x);
float gelu_erf_f32(float x);  // x (1 + erf(x / sqrt 2)) / 2

double exp_f64(double x);                      // 1 ulp, subnormal results too
double log_f64(double x);                      // 1 ulp
double pow_f64(double base, double exponent);  // 1 ulp; base > 0 and finite, else NaN
// 1 ulp for |x| <= 2^40: reduced by 159 bits of pi/2. NaN beyond.
double sin_f64(double x);
double cos_f64(double x);

}  // namespace kinglet
