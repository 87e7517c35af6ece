package checkpoint

import "fmt"

// construct is everything that names, calls or restores.
func (m *machine) construct(op byte) error {
	var v any
	var err error
	switch op {
	case 'c', 0x93:
		v, err = m.named(op)
	case 'b':
		var pair []any
		if pair, err = m.popN(2); err == nil {
			v, err = m.build(pair[0], pair[1])
		}
	case 'P':
		return fmt.Errorf("it refers to data outside the file")
	case 'Q':
		var id any
		if id, err = m.pop(); err == nil {
			v, err = m.persistent(id)
		}
	default:
		v, err = m.called(op)
	}
	if err != nil {
		return err
	}
	m.push(v)
	return nil
}

// named is GLOBAL and STACK_GLOBAL.
func (m *machine) named(op byte) (any, error) {
	if op == 'c' {
		module, err := m.line()
		if err != nil {
			return nil, err
		}
		name, err := m.line()
		if err != nil {
			return nil, err
		}
		return m.global(module, name)
	}
	pair, err := m.popN(2)
	if err != nil {
		return nil, err
	}
	module, ok := pair[0].(string)
	name, also := pair[1].(string)
	if !ok || !also {
		return nil, fmt.Errorf("a class is named by something other than text")
	}
	return m.global(module, name)
}

// called is REDUCE, NEWOBJ, NEWOBJ_EX, INST and OBJ.
func (m *machine) called(op byte) (any, error) {
	switch op {
	case 'i':
		f, err := m.named('c')
		if err != nil {
			return nil, err
		}
		args, err := m.popMark()
		if err != nil {
			return nil, err
		}
		return m.call(f, args)
	case 'o':
		items, err := m.popMark()
		if err != nil {
			return nil, err
		}
		if len(items) == 0 {
			return nil, fmt.Errorf("a call names nothing to call")
		}
		return m.call(items[0], items[1:])
	}
	n := 2
	if op == 0x92 {
		n = 3 // the last is named arguments, which no constructor of tensors takes
	}
	items, err := m.popN(n)
	if err != nil {
		return nil, err
	}
	args, ok := items[1].(*tuple)
	if !ok {
		return nil, fmt.Errorf("the arguments of a call are not a tuple")
	}
	return m.call(items[0], args.items)
}
