package checkpoint

// Rows is the tensor of rows from to to, which share the file with t; false where t has no such rows, or where they don't begin
// and end between the blocks of a quantised type.
func (t Tensor) Rows(from, to int) (Tensor, bool) {
	if len(t.Shape) == 0 || from < 0 || to < from || to > t.Shape[0] {
		return t, false
	}
	rows := t.Shape[0]
	elems, size := t.DType.Block()
	if rows == 0 || elems == 0 || t.Len()/rows%elems != 0 {
		return t, false
	}
	out := t
	out.Shape = append([]int{to - from}, t.Shape[1:]...)
	if t.view != nil {
		v := *t.view
		v.offset += from * v.strides[0]
		out.view = &v
		return out, true
	}
	row := t.Len() / rows / elems * size
	out.Data = t.Data[from*row : to*row]
	return out, true
}
