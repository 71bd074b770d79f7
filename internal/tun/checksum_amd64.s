#include "textflag.h"

// func sumBlocks(b []byte) uint64
//
// Each of the accumulators Y0 to Y3 has four 64-bit lanes, to which 32-bit words are added. The sum would not overflow
// before 16 GiB.
TEXT ·sumBlocks(SB), NOSPLIT, $0-32
	MOVQ  b_base+0(FP), SI
	MOVQ  b_len+8(FP), CX
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2
	VPXOR Y3, Y3, Y3
	VPCMPEQD Y4, Y4, Y4
	VPSRLQ $32, Y4, Y4 // the lower half of each lane

loop:
	VMOVDQU (SI), Y5
	VMOVDQU 32(SI), Y6
	VPSRLQ  $32, Y5, Y7
	VPAND   Y4, Y5, Y5
	VPSRLQ  $32, Y6, Y8
	VPAND   Y4, Y6, Y6
	VPADDQ  Y5, Y0, Y0
	VPADDQ  Y7, Y1, Y1
	VPADDQ  Y6, Y2, Y2
	VPADDQ  Y8, Y3, Y3
	ADDQ    $64, SI
	SUBQ    $64, CX
	JNZ     loop

	VPADDQ       Y1, Y0, Y0
	VPADDQ       Y3, Y2, Y2
	VPADDQ       Y2, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPADDQ       X1, X0, X0
	VPSRLDQ      $8, X0, X1
	VPADDQ       X1, X0, X0
	VMOVQ        X0, AX
	MOVQ         AX, ret+24(FP)
	VZEROUPPER
	RET
