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

// tile512 is a tile of 32 columns; step is the bytes between rows of b.
//
// The compiler keeps 15 vector registers: 8 sums, 2 of b, 4 of a and one in passing. Larger tiles spill, to a third of the speed.
func tile512(k int, a *Left, b, c *float32, pitch, step int, add bool) {
	var c00, c01, c10, c11, c20, c21, c30, c31 archsimd.Float32x16
	if add {
		c00 = archsimd.LoadFloat32x16((*[16]float32)(at(c, 0)))
		c01 = archsimd.LoadFloat32x16((*[16]float32)(at(c, 16)))
		c10 = archsimd.LoadFloat32x16((*[16]float32)(at(c, pitch)))
		c11 = archsimd.LoadFloat32x16((*[16]float32)(at(c, pitch+16)))
		c20 = archsimd.LoadFloat32x16((*[16]float32)(at(c, 2*pitch)))
		c21 = archsimd.LoadFloat32x16((*[16]float32)(at(c, 2*pitch+16)))
		c30 = archsimd.LoadFloat32x16((*[16]float32)(at(c, 3*pitch)))
		c31 = archsimd.LoadFloat32x16((*[16]float32)(at(c, 3*pitch+16)))
	}
	p0, p1, p2, p3, pb := unsafe.Pointer(a[0]), unsafe.Pointer(a[1]), unsafe.Pointer(a[2]), unsafe.Pointer(a[3]), unsafe.Pointer(b)
	for i, j := 0, 0; i < 4*k; i, j = i+4, j+step {
		b0 := archsimd.LoadFloat32x16((*[16]float32)(unsafe.Add(pb, j)))
		b1 := archsimd.LoadFloat32x16((*[16]float32)(unsafe.Add(pb, j+64)))
		v0 := archsimd.BroadcastFloat32x16(*(*float32)(unsafe.Add(p0, i)))
		c00 = v0.MulAdd(b0, c00)
		c01 = v0.MulAdd(b1, c01)
		v1 := archsimd.BroadcastFloat32x16(*(*float32)(unsafe.Add(p1, i)))
		c10 = v1.MulAdd(b0, c10)
		c11 = v1.MulAdd(b1, c11)
		v2 := archsimd.BroadcastFloat32x16(*(*float32)(unsafe.Add(p2, i)))
		c20 = v2.MulAdd(b0, c20)
		c21 = v2.MulAdd(b1, c21)
		v3 := archsimd.BroadcastFloat32x16(*(*float32)(unsafe.Add(p3, i)))
		c30 = v3.MulAdd(b0, c30)
		c31 = v3.MulAdd(b1, c31)
	}
	c00.Store((*[16]float32)(at(c, 0)))
	c01.Store((*[16]float32)(at(c, 16)))
	c10.Store((*[16]float32)(at(c, pitch)))
	c11.Store((*[16]float32)(at(c, pitch+16)))
	c20.Store((*[16]float32)(at(c, 2*pitch)))
	c21.Store((*[16]float32)(at(c, 2*pitch+16)))
	c30.Store((*[16]float32)(at(c, 3*pitch)))
	c31.Store((*[16]float32)(at(c, 3*pitch+16)))
}

// tile512Half is a tile of 16 columns.
func tile512Half(k int, a *Left, b, c *float32, pitch, step int, add bool) {
	var c00, c10, c20, c30 archsimd.Float32x16
	if add {
		c00 = archsimd.LoadFloat32x16((*[16]float32)(at(c, 0)))
		c10 = archsimd.LoadFloat32x16((*[16]float32)(at(c, pitch)))
		c20 = archsimd.LoadFloat32x16((*[16]float32)(at(c, 2*pitch)))
		c30 = archsimd.LoadFloat32x16((*[16]float32)(at(c, 3*pitch)))
	}
	p0, p1, p2, p3, pb := unsafe.Pointer(a[0]), unsafe.Pointer(a[1]), unsafe.Pointer(a[2]), unsafe.Pointer(a[3]), unsafe.Pointer(b)
	for i, j := 0, 0; i < 4*k; i, j = i+4, j+step {
		b0 := archsimd.LoadFloat32x16((*[16]float32)(unsafe.Add(pb, j)))
		v0 := archsimd.BroadcastFloat32x16(*(*float32)(unsafe.Add(p0, i)))
		c00 = v0.MulAdd(b0, c00)
		v1 := archsimd.BroadcastFloat32x16(*(*float32)(unsafe.Add(p1, i)))
		c10 = v1.MulAdd(b0, c10)
		v2 := archsimd.BroadcastFloat32x16(*(*float32)(unsafe.Add(p2, i)))
		c20 = v2.MulAdd(b0, c20)
		v3 := archsimd.BroadcastFloat32x16(*(*float32)(unsafe.Add(p3, i)))
		c30 = v3.MulAdd(b0, c30)
	}
	c00.Store((*[16]float32)(at(c, 0)))
	c10.Store((*[16]float32)(at(c, pitch)))
	c20.Store((*[16]float32)(at(c, 2*pitch)))
	c30.Store((*[16]float32)(at(c, 3*pitch)))
}

// tile256 is a tile of 16 columns on half as wide registers.
func tile256(k int, a *Left, b, c *float32, pitch, step int, add bool) {
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

// peak512 and peak256 are twelve chains of multiply-adds, which fill the registers and the units.
func peak512(rounds int) float32 {
	x0 := archsimd.BroadcastFloat32x16(0)
	x1 := archsimd.BroadcastFloat32x16(1)
	x2 := archsimd.BroadcastFloat32x16(2)
	x3 := archsimd.BroadcastFloat32x16(3)
	x4 := archsimd.BroadcastFloat32x16(4)
	x5 := archsimd.BroadcastFloat32x16(5)
	x6 := archsimd.BroadcastFloat32x16(6)
	x7 := archsimd.BroadcastFloat32x16(7)
	x8 := archsimd.BroadcastFloat32x16(8)
	x9 := archsimd.BroadcastFloat32x16(9)
	x10 := archsimd.BroadcastFloat32x16(10)
	x11 := archsimd.BroadcastFloat32x16(11)
	m := archsimd.BroadcastFloat32x16(0.999)
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
	var out [16]float32
	x0.Add(x1).Add(x2).Add(x3).Add(x4).Add(x5).Add(x6).Add(x7).Add(x8).Add(x9).Add(x10).Add(x11).Store(&out)
	return out[0]
}

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
