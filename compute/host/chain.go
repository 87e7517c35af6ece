package host

// chainBlock is the elements that a chain takes at a time: few enough that what one node writes is still in the fastest cache
// when the next one reads it.
const chainBlock = 2048

// chain joins neighbouring elementwise steps of one shape into passes: each block of elements goes through all of them before
// the next block begins.
func (e *executable) chain() {
	for i := 0; i < len(e.steps); {
		if e.steps[i].elements == nil {
			i++
			continue
		}
		end := i + 1
		for end < len(e.steps) && e.steps[end].elements != nil && joins(e.steps[i:end], &e.steps[end]) {
			end++
		}
		e.steps[i].run = e.pass(e.steps[i:end])
		i = end
	}
}

// joins reports whether a step may go through in one pass with those before it: its result has their shape, and none of the
// operands that are read as a whole, because they are broadcast, lies where another step of the pass writes.
func joins(pass []step, next *step) bool {
	if !next.node.Shape().Equal(pass[0].node.Shape()) || overwrites(next, pass) {
		return false
	}
	for i := range pass {
		if overwrites(&pass[i], []step{*next}) {
			return false
		}
	}
	return true
}

// overwrites reports whether a broadcast operand of s lies where one of the others writes. Slots begin at their first element, so
// two tensors share memory where they begin at the same place.
func overwrites(s *step, others []step) bool {
	for i, x := range s.in {
		if s.node.In[i].Shape().Equal(s.node.Shape()) || len(x) == 0 {
			continue
		}
		for _, o := range others {
			if &o.out[0] == &x[0] {
				return true
			}
		}
	}
	return false
}

// pass gives the run of steps that go through together.
func (e *executable) pass(steps []step) func() error {
	var each []func(lo, hi int)
	for _, s := range steps {
		each = append(each, s.elements)
	}
	if len(each) == 1 {
		return e.each(len(steps[0].out), elementGrain, each[0])
	}
	return e.each(len(steps[0].out), elementGrain, func(lo, hi int) {
		for ; lo < hi; lo += chainBlock {
			for _, do := range each {
				do(lo, min(lo+chainBlock, hi))
			}
		}
	})
}
