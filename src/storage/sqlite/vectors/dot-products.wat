;; Source of the code in dot-products.ts.
(module
  (memory (export "memory") 1)
  ;; Multiplies `count` rows at `codes`, of `length` signed bytes each, with the `length` signed 16-bit
  ;; integers at `point`, and writes one 32-bit sum per row to `out`. `length` is a multiple of 16.
  (func (export "dotProducts")
    (param $codes i32) (param $count i32) (param $length i32) (param $point i32) (param $out i32)
    (local $outEnd i32) (local $rowEnd i32) (local $at i32)
    (local $low v128) (local $high v128) (local $sixteen v128)
    (local.set $outEnd (i32.add (local.get $out) (i32.shl (local.get $count) (i32.const 2))))
    (block $done
      (loop $rows
        (br_if $done (i32.ge_u (local.get $out) (local.get $outEnd)))
        (local.set $rowEnd (i32.add (local.get $codes) (local.get $length)))
        (local.set $at (local.get $point))
        (local.set $low (v128.const i32x4 0 0 0 0))
        (local.set $high (v128.const i32x4 0 0 0 0))
        (loop $row
          (local.set $sixteen (v128.load (local.get $codes)))
          (local.set $low (i32x4.add (local.get $low) (i32x4.dot_i16x8_s
            (i16x8.extend_low_i8x16_s (local.get $sixteen))
            (v128.load (local.get $at)))))
          (local.set $high (i32x4.add (local.get $high) (i32x4.dot_i16x8_s
            (i16x8.extend_high_i8x16_s (local.get $sixteen))
            (v128.load offset=16 (local.get $at)))))
          (local.set $at (i32.add (local.get $at) (i32.const 32)))
          (local.set $codes (i32.add (local.get $codes) (i32.const 16)))
          (br_if $row (i32.lt_u (local.get $codes) (local.get $rowEnd))))
        (local.set $low (i32x4.add (local.get $low) (local.get $high)))
        (i32.store (local.get $out) (i32.add
          (i32.add (i32x4.extract_lane 0 (local.get $low)) (i32x4.extract_lane 1 (local.get $low)))
          (i32.add (i32x4.extract_lane 2 (local.get $low)) (i32x4.extract_lane 3 (local.get $low)))))
        (local.set $out (i32.add (local.get $out) (i32.const 4)))
        (br $rows)))))
