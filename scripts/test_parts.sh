# The table of ./test's parts, in their order: part SET NAME "what it checks" COMMAND
# SET: default (./test), full (./test full runs these too), long. Parts whose sources don't exist are not listed.

# Folders of src/ and tests/ with GoogleTest programs; where the bits of logits are made or compared.
program_folders() {
  local file
  for file in "$root"/src/*/*_test.cc "$root"/src/*/*/*_test.cc "$root"/tests/*/*_test.cc; do
    [ -e "$file" ] || continue
    file=${file#"$root"/*/}
    printf '%s\n' "${file%%/*}"
  done | sort -u
}
bit_folders() { program_folders | grep -x -e kernels -e nn -e engine -e golden -e bits; }

define_parts() {
  local folder file
  local all bits
  all=$(program_folders | tr '\n' ' ')
  bits=$(bit_folders | tr '\n' ' ')

  part default build "every program compiles (g++, release)" build_preset dev -k 0
  for folder in $all; do
    part default "$folder" "unit tests" gtest dev "$folder"
  done
  for file in "$root"/tests/*/*_test.py; do
    [ -e "$file" ] || continue
    folder=${file%/*}
    folder=${folder##*/}
    case " ${part_names[*]} " in *" $folder "*) folder=$folder-py ;; esac
    part default "$folder" "${file#"$root"/}" python3 scripts/run_pytest.py "$file"
  done
}
