//go:build goexperiment.simd && amd64

package vector

import (
	"simd/archsimd"
	"unsafe"
)

var (
	wide   = archsimd.X86.AVX512()
	narrow = archsimd.X86.AVX2() && archsimd.X86.FMA()
)

func at(p *float32, i int) unsafe.Pointer { return unsafe.Add(unsafe.Pointer(p), 4*i) }

// tile512 is a tile of 32 columns, tile512Half one of 16; b's rows lie side by side. They are in tile_amd64.s.
//
//go:noescape
func tile512(k int, a *Left, b, c *float32, pitch int, add bool)

//go:noescape
func tile512Half(k int, a *Left, b, c *float32, pitch int, add bool)

// tile256 is four rows of a tile, 16 columns of it, on half as wide registers; step is the bytes between rows of b.
func tile256(k int, a *[4]*float32, b, c *float32, pitch, step int, add bool) {
	var c00, c01, c10, c11, c20, c21, c30, c31 archsimd.Float32x8
	if add {
		c00 = archsimd.LoadFloat32x8((*[8]float32)(at(c, 0)))
		c01 = archsimd.LoadFloat32x8((*[8]float32)(at(c, 8)))
		c10 = archsimd.LoadFloat32x8((*[8]float32)(at(c, pitch)))
		c11 = archsimd.LoadFloat32x8((*[8]float32)(at(c, pitch+8)))
		c20 = archsimd.LoadFloat32x8((*[8]float32)(at(c, 2*pitch)))
		c21 = archsimd.LoadFloat32x8((*[8]float32)(at(c, 2*pitch+8)))
		c30 = archsimd.LoadFloat32x8((*[8]float32)(at(c, 3*pitch)))
		c31 = archsimd.LoadFloat32x8((*[8]float32)(at(c, 3*pitch+8)))
	}
	p0, p1, p2, p3, pb := unsafe.Pointer(a[0]), unsafe.Pointer(a[1]), unsafe.Pointer(a[2]), unsafe.Pointer(a[3]), unsafe.Pointer(b)
	for i, j := 0, 0; i < 4*k; i, j = i+4, j+step {
		b0 := archsimd.LoadFloat32x8((*[8]float32)(unsafe.Add(pb, j)))
		b1 := archsimd.LoadFloat32x8((*[8]float32)(unsafe.Add(pb, j+32)))
		v0 := archsimd.BroadcastFloat32x8(*(*float32)(unsafe.Add(p0, i)))
		c00 = v0.MulAdd(b0, c00)
		c01 = v0.MulAdd(b1, c01)
		v1 := archsimd.BroadcastFloat32x8(*(*float32)(unsafe.Add(p1, i)))
		c10 = v1.MulAdd(b0, c10)
		c11 = v1.MulAdd(b1, c11)
		v2 := archsimd.BroadcastFloat32x8(*(*float32)(unsafe.Add(p2, i)))
		c20 = v2.MulAdd(b0, c20)
		c21 = v2.MulAdd(b1, c21)
		v3 := archsimd.BroadcastFloat32x8(*(*float32)(unsafe.Add(p3, i)))
		c30 = v3.MulAdd(b0, c30)
		c31 = v3.MulAdd(b1, c31)
	}
	c00.Store((*[8]float32)(at(c, 0)))
	c01.Store((*[8]float32)(at(c, 8)))
	c10.Store((*[8]float32)(at(c, pitch)))
	c11.Store((*[8]float32)(at(c, pitch+8)))
	c20.Store((*[8]float32)(at(c, 2*pitch)))
	c21.Store((*[8]float32)(at(c, 2*pitch+8)))
	c30.Store((*[8]float32)(at(c, 3*pitch)))
	c31.Store((*[8]float32)(at(c, 3*pitch+8)))
}

// peak512 and peak256 are chains of multiply-adds, which fill the registers and the units: 24 and 12 of them in a round.
//
//go:noescape
func peak512(rounds int) float32

func peak256(rounds int) float32 {
	x0 := archsimd.BroadcastFloat32x8(0)
	x1 := archsimd.BroadcastFloat32x8(1)
	x2 := archsimd.BroadcastFloat32x8(2)
	x3 := archsimd.BroadcastFloat32x8(3)
	x4 := archsimd.BroadcastFloat32x8(4)
	x5 := archsimd.BroadcastFloat32x8(5)
	x6 := archsimd.BroadcastFloat32x8(6)
	x7 := archsimd.BroadcastFloat32x8(7)
	x8 := archsimd.BroadcastFloat32x8(8)
	x9 := archsimd.BroadcastFloat32x8(9)
	x10 := archsimd.BroadcastFloat32x8(10)
	x11 := archsimd.BroadcastFloat32x8(11)
	m := archsimd.BroadcastFloat32x8(0.999)
	for ; rounds > 0; rounds-- {
		x0 = x0.MulAdd(m, m)
		x1 = x1.MulAdd(m, m)
		x2 = x2.MulAdd(m, m)
		x3 = x3.MulAdd(m, m)
		x4 = x4.MulAdd(m, m)
		x5 = x5.MulAdd(m, m)
		x6 = x6.MulAdd(m, m)
		x7 = x7.MulAdd(m, m)
		x8 = x8.MulAdd(m, m)
		x9 = x9.MulAdd(m, m)
		x10 = x10.MulAdd(m, m)
		x11 = x11.MulAdd(m, m)
	}
	var out [8]float32
	x0.Add(x1).Add(x2).Add(x3).Add(x4).Add(x5).Add(x6).Add(x7).Add(x8).Add(x9).Add(x10).Add(x11).Store(&out)
	return out[0]
}
