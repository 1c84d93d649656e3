;; Does a port accept connections?
;;
;; The contract is vouchd/wit/check.wit. The component model's canonical ABI defines its layout in memory. A text is an address
;; and a length, 8 bytes.
(module
  ;; Returns microseconds, or a code below 0 for an error.
  (import "vouchd:check/simple@0.1.0" "tcp-connect" (func $connect (param $addr i32) (param $len i32) (param $ms i32) (result i32)))

  (memory (export "memory") 1)

  ;; 16: the result, 28 bytes: 0 whether it is an error; 4 the reason, or the report: 4 verdict, 8 message, 16 adjust, 20 metrics
  ;; 48: the metric, 24 bytes: 0 name, 8 value, 16 unit
  (data (i32.const 48) "\50\00\00\00\07\00\00\00" "\00\00\00\00\00\00\00\00" "\57\00\00\00\01\00\00\00")
  (data (i32.const 80) "connects")
  (data (i32.const 128) "accepts connections")                                    ;; 19
  (data (i32.const 160) "connection refused")                                     ;; 18
  (data (i32.const 192) "no connection")                                          ;; 13
  (data (i32.const 224) "expected one parameter, `address`: host:port")           ;; 44

  ;; Allocates memory for what the daemon passes. Nothing is ever freed, since each run is a fresh instance.
  (global $free (mut i32) (i32.const 1024))
  (func (export "cabi_realloc") (param $old i32) (param $old_len i32) (param $align i32) (param $len i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
    (global.set $free (i32.add (local.get $at) (local.get $len)))
    (local.get $at))

  (func $say (param $verdict i32) (param $message i32) (param $len i32) (result i32)
    (i32.store8 (i32.const 20) (local.get $verdict))
    (i32.store (i32.const 24) (local.get $message))
    (i32.store (i32.const 28) (local.get $len))
    (i32.const 16))

  (func $error (param $reason i32) (param $len i32) (result i32)
    (i32.store8 (i32.const 16) (i32.const 1))
    (i32.store (i32.const 20) (local.get $reason))
    (i32.store (i32.const 24) (local.get $len))
    (i32.const 16))

  ;; Whether these bytes are `address`.
  (func $is_address (param $key i32) (param $len i32) (result i32)
    (if (i32.ne (local.get $len) (i32.const 7)) (then (return (i32.const 0))))
    (i32.and
      (i32.eq (i32.load align=1 (local.get $key)) (i32.const 0x72646461))             ;; "addr"
      (i32.eq (i32.load offset=3 align=1 (local.get $key)) (i32.const 0x73736572))))  ;; "ress"

  ;; check(name, params: pairs of texts, 16 bytes each, budget-ms). Returns the address of the result.
  (func (export "vouchd:check/checker@0.1.0#check")
      (param $name i32) (param $name_len i32) (param $params i32) (param $count i32) (param $budget_ms i32) (result i32)
    (local $us i32)
    (if (i32.ne (local.get $count) (i32.const 1)) (then (return (call $error (i32.const 224) (i32.const 44)))))
    (if (i32.eqz (call $is_address (i32.load (local.get $params)) (i32.load offset=4 (local.get $params))))
      (then (return (call $error (i32.const 224) (i32.const 44)))))

    (local.set $us (call $connect
      (i32.load offset=8 (local.get $params)) (i32.load offset=12 (local.get $params)) (local.get $budget_ms)))
    (if (i32.eq (local.get $us) (i32.const -3))
      (then (return (call $say (i32.const 2) (i32.const 160) (i32.const 18))))) ;; fail
    (if (i32.lt_s (local.get $us) (i32.const 0))
      (then (return (call $say (i32.const 2) (i32.const 192) (i32.const 13)))))
    (f64.store (i32.const 56) (f64.div (f64.convert_i32_s (local.get $us)) (f64.const 1e6)))
    (i32.store (i32.const 36) (i32.const 48)) ;; one metric
    (i32.store (i32.const 40) (i32.const 1))
    (call $say (i32.const 0) (i32.const 128) (i32.const 19)))) ;; pass
