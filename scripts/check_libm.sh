#!/bin/bash
# No libm function whose bits depend on the machine may reach a logit (docs/ARCHITECTURE.md, "One meaning, many speeds"):
# check_libm.sh BUILD_FOLDER. sqrt, floor and the like are exact by IEEE 754 and allowed.
forbidden='exp|exp2|exp10|expm1|log|log2|log10|log1p|pow|sin|cos|tan|sincos|asin|acos|atan|atan2|sinh|cosh|tanh|asinh|acosh|atanh|cbrt|hypot|erf|erfc|tgamma|lgamma|fma'
checked=0 failed=0
for folder in kernels nn families cache sampling; do
  library=$1/src/$folder/libkinglet_$folder.a
  [ -f "$library" ] || continue
  checked=$((checked + 1))
  found=$(nm --undefined-only --print-file-name "$library" 2>/dev/null | sed 's/.*:\([^:]*\.o\): */\1 /' |
    awk -v names="^(__)?($forbidden)[fl]?(_finite)?(@.*)?$" '$NF ~ names {print "  " $1 " calls " $NF}' | sort -u)
  if [ -n "$found" ]; then
    failed=$((failed + 1))
    printf '%s: use kernels/math.h instead of\n%s\n' "$folder" "$found"
  fi
done
echo "$((checked - failed)) passed, $failed failed, 0 skipped"
[ $failed = 0 ] && [ $checked != 0 ]
