#!/usr/bin/env bash
# Runs the tests that go through the core's unsafe code under a tool that sees undefined behaviour: Miri, where the toolchain has
# it, for what makes no system calls Miri does not know; else AddressSanitizer, and ThreadSanitizer for what has no lock. Both
# must first find a fault that is planted. Takes two minutes; DIRECTORY (default target/soundness) keeps what it builds.
#   scripts/check-soundness.sh [DIRECTORY]
set -euo pipefail
cd "$(dirname "$0")/.."
directory=${1:-target/soundness}
mkdir -p "$directory"
directory=$(realpath "$directory")
target=$(rustc -vV | sed -n 's/^host: //p')

if cargo miri --version >/dev/null 2>&1; then
  echo "Undefined behaviour: Miri, on stamps, oracle, comparison and what is pure besides"
  export MIRIFLAGS=-Zmiri-disable-isolation PROPTEST_CASES=4 CARGO_TARGET_DIR=$directory/miri
  cargo miri test -p aiodio-core --lib -- stamp:: random:: verify::check:: verify::explain:: sys::tests::a_transfer
  cargo miri test -p aiodio-core --test oracle
  exit
fi

echo "Undefined behaviour: this toolchain has no Miri. AddressSanitizer and ThreadSanitizer see less: what the tests reach, and"
echo "neither broken aliasing nor uninitialised memory."
# The sanitizers' runtimes come with every toolchain; the flags are unstable.
export RUSTC_BOOTSTRAP=1
address=-Zsanitizer=address
# The standard library is not instrumented, so what its threads and channels hand over looks like races of the functions that they
# end in; reports that begin there are let pass. What AddressSanitizer sees of freed memory is not lost by that.
thread="-Zsanitizer=thread -Zunstable-options -Cunsafe-allow-abi-mismatch=sanitizer"
cat >"$directory/suppressions" <<'END'
race_top:std::thread::lifecycle
race_top:free
race_top:memcpy
END
# Memory that the kernel may still write to is leaked on purpose.
export ASAN_OPTIONS=detect_leaks=0 TSAN_OPTIONS=suppressions=$directory/suppressions

cat >"$directory/planted.rs" <<'END'
fn main() {
    if std::env::args().nth(1).as_deref() == Some("memory") {
        let memory = Box::new([7_u8; 64]);
        let first = (&raw const *memory).cast::<u8>();
        drop(memory);
        println!("{}", unsafe { first.read_volatile() });
    } else {
        static mut COUNT: u64 = 0;
        let add = || (0..1000).for_each(|_| unsafe { (&raw mut COUNT).write((&raw const COUNT).read() + 1) });
        let other = std::thread::spawn(add);
        add();
        other.join().unwrap();
    }
}
END
planted() { # sanitizer's flags, argument, what it must say
  # shellcheck disable=SC2086
  rustc --edition 2024 $1 --target "$target" -g -o "$directory/planted" "$directory/planted.rs" 2>"$directory/planted.log" ||
    { cat "$directory/planted.log"; return 1; }
  ! "$directory/planted" "$2" >"$directory/planted.log" 2>&1 && grep -q "$3" "$directory/planted.log" ||
    { echo "the planted fault was not found: $3"; return 1; }
}
planted "$address" memory 'AddressSanitizer: heap-use-after-free'
planted "$thread" race 'ThreadSanitizer: data race'

RUSTFLAGS=$address CARGO_TARGET_DIR=$directory/address cargo test --quiet --target "$target" -p aiodio-core \
  --lib --test recorder --test faults --test verify --test oracle --test short_read
RUSTFLAGS=$thread CARGO_TARGET_DIR=$directory/thread cargo test --quiet --target "$target" -p aiodio-core \
  --test recorder -- --test-threads=1
