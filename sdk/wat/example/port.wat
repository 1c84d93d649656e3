;; Does a port accept connections?
;;
;; Parameters: `address` (`host:port`), `label` (its name in messages; default: the address).
;;
;; Everything that a vouchd check needs, written by hand: two exports, the imports that it uses, and the memory layout of the
;; contract (../../wit/check.wit in the component model's canonical ABI), explained where it is used. A text is an address and a
;; length, 8 bytes.
(module
  ;; probe(addr, send, until: option, max-bytes, timeout-ms), and the address for the answer.
  (import "vouchd:check/tcp@0.1.0" "probe"
    (func $probe (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "vouchd:check/memo@0.1.0" "get" (func $recall (param i32)))
  (import "vouchd:check/memo@0.1.0" "set" (func $remember (param i32 i32)))

  (memory (export "memory") 1)

  ;; 16: the result, 28 bytes:    0 whether it is an error; 4 the reason, or the report: 4 verdict, 8 message, 16 adjust, 20 metrics
  ;; 48: the probe's answer, 24:  0 whether it is an error; 8 microseconds, or 8 the problem, 12 its text
  ;; 80: the memo's answer, 8
  ;; 96: the next memo, 4:        runs so far
  ;; 112: two metrics, 24 each:   0 name, 8 value, 16 unit
  (data (i32.const 112) "\40\01\00\00\07\00\00\00" "\00\00\00\00\00\00\00\00" "\50\01\00\00\01\00\00\00")
  (data (i32.const 136) "\48\01\00\00\04\00\00\00" "\00\00\00\00\00\00\00\00" "\51\01\00\00\01\00\00\00")
  (data (i32.const 0x140) "connect")
  (data (i32.const 0x148) "runs")
  (data (i32.const 0x150) "sc")
  (data (i32.const 0x160) "address")
  (data (i32.const 0x168) "label")
  (data (i32.const 0x170) " accepts connections")                                        ;; 20
  (data (i32.const 0x190) "the parameter `address` is missing: expected host:port")      ;; 54
  (data (i32.const 0x1d0) "unknown parameter `")                                         ;; 19
  (data (i32.const 0x1e4) "`: expected address, label")                                  ;; 26
  (data (i32.const 0x200) ": ")
  (data (i32.const 0x210) ": no answer in time")                                         ;; 19
  (data (i32.const 0x230) ": connection refused")                                        ;; 20
  (data (i32.const 0x250) ": the name does not resolve")                                 ;; 27
  (data (i32.const 0x270) ": TLS: ")                                                     ;; 7

  ;; Memory is never freed: each run is a fresh instance.
  (global $free (mut i32) (i32.const 1024))

  (func $alloc (param $len i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
    (global.set $free (i32.add (local.get $at) (local.get $len)))
    (block $fits
      (br_if $fits (i32.le_u (global.get $free) (i32.shl (memory.size) (i32.const 16))))
      (br_if $fits (i32.ne (i32.const -1) (memory.grow (i32.add (i32.const 1)
        (i32.shr_u (i32.sub (global.get $free) (i32.shl (memory.size) (i32.const 16))) (i32.const 16))))))
      (unreachable))
    (local.get $at))

  ;; Allocates memory for what the daemon passes. It never asks to grow a block.
  (func (export "cabi_realloc") (param $old i32) (param $old_len i32) (param $align i32) (param $len i32) (result i32)
    (call $alloc (local.get $len)))

  (func $equal (param $a i32) (param $a_len i32) (param $b i32) (param $b_len i32) (result i32)
    (if (i32.ne (local.get $a_len) (local.get $b_len)) (then (return (i32.const 0))))
    (loop $next
      (if (i32.eqz (local.get $a_len)) (then (return (i32.const 1))))
      (local.set $a_len (i32.sub (local.get $a_len) (i32.const 1)))
      (br_if $next (i32.eq
        (i32.load8_u (i32.add (local.get $a) (local.get $a_len)))
        (i32.load8_u (i32.add (local.get $b) (local.get $a_len))))))
    (i32.const 0))

  (func $copy (param $to i32) (param $from i32) (param $len i32) (result i32)
    (loop $next
      (if (local.get $len) (then
        (i32.store8 (local.get $to) (i32.load8_u (local.get $from)))
        (local.set $to (i32.add (local.get $to) (i32.const 1)))
        (local.set $from (i32.add (local.get $from) (i32.const 1)))
        (local.set $len (i32.sub (local.get $len) (i32.const 1)))
        (br $next))))
    (local.get $to))

  ;; Joins three texts, and stores the new text at $at.
  (func $join (param $at i32) (param $a i32) (param $a_len i32) (param $b i32) (param $b_len i32)
      (param $c i32) (param $c_len i32)
    (i32.store offset=4 (local.get $at)
      (i32.add (local.get $a_len) (i32.add (local.get $b_len) (local.get $c_len))))
    (i32.store (local.get $at) (call $alloc (i32.load offset=4 (local.get $at))))
    (drop (call $copy
      (call $copy
        (call $copy (i32.load (local.get $at)) (local.get $a) (local.get $a_len))
        (local.get $b) (local.get $b_len))
      (local.get $c) (local.get $c_len))))

  (func $fail_with (param $label i32) (param $label_len i32) (param $why i32) (param $why_len i32)
      (param $text i32) (param $text_len i32)
    (i32.store8 (i32.const 20) (i32.const 2)) ;; fail
    (call $join (i32.const 24) (local.get $label) (local.get $label_len) (local.get $why) (local.get $why_len)
      (local.get $text) (local.get $text_len)))

  (func $error_with (param $text i32) (param $text_len i32)
    (i32.store8 (i32.const 16) (i32.const 1))
    (i32.store (i32.const 20) (local.get $text))
    (i32.store (i32.const 24) (local.get $text_len)))

  ;; Reports the probe's problem: a failure of the service, or an error if the probe could not be made.
  (func $problem (param $label i32) (param $label_len i32)
    (local $kind i32) (local $text i32) (local $text_len i32)
    (local.set $kind (i32.load8_u (i32.const 56)))
    (local.set $text (i32.load (i32.const 60)))
    (local.set $text_len (i32.load (i32.const 64)))
    (block $other (block $invalid (block $tls (block $unresolved (block $refused (block $timeout (block $denied
      (br_table $denied $timeout $refused $unresolved $tls $invalid $other (local.get $kind)))
      (return (call $error_with (local.get $text) (local.get $text_len))))
      (return (call $fail_with (local.get $label) (local.get $label_len) (i32.const 0x210) (i32.const 19)
        (i32.const 0) (i32.const 0))))
      (return (call $fail_with (local.get $label) (local.get $label_len) (i32.const 0x230) (i32.const 20)
        (i32.const 0) (i32.const 0))))
      (return (call $fail_with (local.get $label) (local.get $label_len) (i32.const 0x250) (i32.const 27)
        (i32.const 0) (i32.const 0))))
      (return (call $fail_with (local.get $label) (local.get $label_len) (i32.const 0x270) (i32.const 7)
        (local.get $text) (local.get $text_len))))
      (return (call $error_with (local.get $text) (local.get $text_len))))
    (call $fail_with (local.get $label) (local.get $label_len) (i32.const 0x200) (i32.const 2)
      (local.get $text) (local.get $text_len)))

  ;; Counts the runs, this one included.
  (func $count_run (result i32)
    (call $recall (i32.const 80))
    (if (i32.eq (i32.load (i32.const 84)) (i32.const 4))
      (then (i32.store (i32.const 96) (i32.load align=1 (i32.load (i32.const 80))))))
    (i32.store (i32.const 96) (i32.add (i32.load (i32.const 96)) (i32.const 1)))
    (call $remember (i32.const 96) (i32.const 4))
    (i32.load (i32.const 96)))

  ;; check(name, params: a list of pairs of texts, budget-ms). Returns the address of the result.
  (func (export "vouchd:check/checker@0.1.0#check")
      (param $name i32) (param $name_len i32) (param $params i32) (param $count i32) (param $budget_ms i32) (result i32)
    (local $address i32) (local $address_len i32) (local $label i32) (local $label_len i32)
    (local $key i32) (local $key_len i32) (local $value i32) (local $value_len i32)
    (block $read
      (loop $next
        (br_if $read (i32.eqz (local.get $count)))
        (local.set $key (i32.load (local.get $params)))
        (local.set $key_len (i32.load offset=4 (local.get $params)))
        (local.set $value (i32.load offset=8 (local.get $params)))
        (local.set $value_len (i32.load offset=12 (local.get $params)))
        (local.set $params (i32.add (local.get $params) (i32.const 16)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (if (call $equal (local.get $key) (local.get $key_len) (i32.const 0x160) (i32.const 7)) (then
          (local.set $address (local.get $value))
          (local.set $address_len (local.get $value_len))
          (br $next)))
        (if (call $equal (local.get $key) (local.get $key_len) (i32.const 0x168) (i32.const 5)) (then
          (local.set $label (local.get $value))
          (local.set $label_len (local.get $value_len))
          (br $next)))
        (call $join (i32.const 20) (i32.const 0x1d0) (i32.const 19) (local.get $key) (local.get $key_len)
          (i32.const 0x1e4) (i32.const 26))
        (i32.store8 (i32.const 16) (i32.const 1))
        (return (i32.const 16))))
    (if (i32.eqz (local.get $address)) (then
      (call $error_with (i32.const 0x190) (i32.const 54))
      (return (i32.const 16))))
    (if (i32.eqz (local.get $label)) (then
      (local.set $label (local.get $address))
      (local.set $label_len (local.get $address_len))))

    (call $probe (local.get $address) (local.get $address_len) (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (local.get $budget_ms) (i32.const 48))
    (if (i32.load8_u (i32.const 48)) (then
      (call $problem (local.get $label) (local.get $label_len))
      (if (i32.load8_u (i32.const 16)) (then (return (i32.const 16))))
      (i32.store (i32.const 36) (i32.const 136)) ;; without the time to connect
      (i32.store (i32.const 40) (i32.const 1)))
    (else
      (call $join (i32.const 24) (local.get $label) (local.get $label_len) (i32.const 0x170) (i32.const 20)
        (i32.const 0) (i32.const 0))
      (f64.store (i32.const 120) (f64.div (f64.convert_i64_u (i64.load (i32.const 56))) (f64.const 1e6)))
      (i32.store (i32.const 36) (i32.const 112)) ;; both metrics
      (i32.store (i32.const 40) (i32.const 2))))
    (f64.store (i32.const 144) (f64.convert_i32_u (call $count_run)))
    (i32.const 16)))
