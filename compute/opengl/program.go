//go:build cgo

package opengl

import (
	"crypto/sha256"
	"fmt"
	"math"
	"strings"

	"atelier/compute"

	"github.com/go-gl/gl/v4.3-core/gl"
)

// program is a linked compute shader with its active uniforms and the values they hold now.
type program struct {
	id       uint32
	shader   string
	uniforms []uniform
	index    map[string]int
	// firstGroup is the uniform that dispatch sets for a piece of a launch (include/grid.glsl), −1 where the shader has none.
	firstGroup int
}

// firstGroupName is that uniform's name.
const firstGroupName = "firstGroup"

type uniform struct {
	name     string
	location int32
	kind     uint32 // GL type
	value    uint32 // bits set last
	known    bool   // value has been set
}

// setting is a uniform's value for one launch.
type setting struct {
	uniform int
	bits    uint32
}

// compileError says that a driver refuses a shader.
type compileError struct{ shader, log string }

func (e *compileError) Error() string {
	return fmt.Sprintf("opengl: shader %s does not compile: %s", e.shader, strings.TrimSpace(e.log))
}

func defines(l *compute.Launch, f *compute.Form) map[string]string {
	if f == nil || len(f.Defines) == 0 {
		return l.Defines
	}
	all := make(map[string]string, len(l.Defines)+len(f.Defines))
	for k, v := range l.Defines {
		all[k] = v
	}
	for k, v := range f.Defines {
		all[k] = v
	}
	return all
}

// program gives the linked program of a launch under a form (nil: none), compiling it once a device.
func (d *Device) program(l *compute.Launch, f *compute.Form) (*program, error) {
	key := l.Key(f)
	if p := d.programs[key]; p != nil {
		return p, nil
	}
	if err := d.failed[key]; err != nil {
		return nil, err
	}
	source, err := d.source(l.Shader, defines(l, f))
	if err != nil {
		return nil, err
	}
	p, err := d.build(l.Shader, source)
	if err != nil {
		d.failed[key] = err
		return nil, err
	}
	d.programs[key] = p
	return p, nil
}

// build links source, from the disk cache where it holds the same source for the same driver.
func (d *Device) build(shader, source string) (*program, error) {
	hash := sha256.Sum256([]byte(source))
	p := &program{shader: shader, id: gl.CreateProgram(), index: map[string]int{}}
	if format, binary := d.binaries.get(hash); len(binary) > 0 {
		gl.ProgramBinary(p.id, format, gl.Ptr(binary), int32(len(binary)))
		if gl.GetError() == gl.NO_ERROR && parameter(p.id, gl.LINK_STATUS) == gl.TRUE {
			p.reflect()
			return p, nil
		}
		d.binaries.drop(hash) // another build of the same driver version, or damage: compile anew
		gl.DeleteProgram(p.id)
		p.id = gl.CreateProgram()
	}
	if err := d.link(p, source); err != nil {
		gl.DeleteProgram(p.id)
		return nil, err
	}
	if n := parameter(p.id, gl.PROGRAM_BINARY_LENGTH); n > 0 && d.binaries.dir != "" {
		binary := make([]byte, n)
		var format uint32
		var length int32
		gl.GetProgramBinary(p.id, n, &length, &format, gl.Ptr(binary))
		if gl.GetError() == gl.NO_ERROR {
			d.binaries.put(hash, format, binary[:length])
		}
	}
	p.reflect()
	return p, nil
}

func (d *Device) link(p *program, source string) error {
	s := gl.CreateShader(gl.COMPUTE_SHADER)
	defer gl.DeleteShader(s)
	text, free := gl.Strs(source)
	length := int32(len(source))
	gl.ShaderSource(s, 1, text, &length)
	free()
	gl.CompileShader(s)
	var ok int32
	if gl.GetShaderiv(s, gl.COMPILE_STATUS, &ok); ok != gl.TRUE {
		var n int32
		gl.GetShaderiv(s, gl.INFO_LOG_LENGTH, &n)
		log := make([]byte, n+1)
		gl.GetShaderInfoLog(s, n+1, nil, &log[0])
		return &compileError{p.shader, d.files(p.shader, gl.GoStr(&log[0]))}
	}
	gl.AttachShader(p.id, s)
	gl.ProgramParameteri(p.id, gl.PROGRAM_BINARY_RETRIEVABLE_HINT, gl.TRUE)
	gl.LinkProgram(p.id)
	gl.DetachShader(p.id, s)
	if parameter(p.id, gl.LINK_STATUS) != gl.TRUE {
		n := parameter(p.id, gl.INFO_LOG_LENGTH)
		log := make([]byte, n+1)
		gl.GetProgramInfoLog(p.id, n+1, nil, &log[0])
		return &compileError{p.shader, d.files(p.shader, gl.GoStr(&log[0]))}
	}
	return nil
}

func parameter(program, name uint32) int32 {
	var v int32
	gl.GetProgramiv(program, name, &v)
	return v
}

// reflect lists the active uniforms. Those without a location live in blocks and are no uniforms here.
func (p *program) reflect() {
	name := make([]byte, max(parameter(p.id, gl.ACTIVE_UNIFORM_MAX_LENGTH), 1))
	for i := range parameter(p.id, gl.ACTIVE_UNIFORMS) {
		u := uniform{}
		var size int32
		gl.GetActiveUniform(p.id, uint32(i), int32(len(name)), nil, &size, &u.kind, &name[0])
		u.name = gl.GoStr(&name[0])
		if u.location = gl.GetUniformLocation(p.id, &name[0]); u.location < 0 {
			continue
		}
		p.index[u.name] = len(p.uniforms)
		p.uniforms = append(p.uniforms, u)
	}
	p.firstGroup = -1
	if i, ok := p.index[firstGroupName]; ok {
		p.firstGroup = i
	}
}

// settings checks a launch's uniforms and reads against what the shader declares, and gives what to set. What the compiler
// optimised out is left out; what the shader uses and the launch does not give is an error.
func (p *program) settings(l *compute.Launch) ([]setting, error) {
	given := make([]bool, len(p.uniforms))
	var set []setting
	add := func(name string, bits uint32, kinds ...uint32) error {
		i, active := p.index[name]
		if !active {
			return nil
		}
		for _, k := range kinds {
			if p.uniforms[i].kind == k {
				given[i] = true
				set = append(set, setting{i, bits})
				return nil
			}
		}
		return fmt.Errorf("opengl: shader %s declares %s with another type than its launch gives (type 0x%04x)", p.shader, name, p.uniforms[i].kind)
	}
	for unit, r := range l.Reads {
		kind := uint32(gl.SAMPLER_BUFFER)
		if r.T != nil && r.T.DType().Blocks() {
			kind = gl.UNSIGNED_INT_SAMPLER_BUFFER
		}
		if err := add(r.Name, uint32(unit), kind); err != nil {
			return nil, err
		}
	}
	for _, u := range l.Uniforms {
		var err error
		switch v := u.Value.(type) {
		case int32:
			err = add(u.Name, uint32(v), gl.INT, gl.BOOL)
		case float32:
			err = add(u.Name, math.Float32bits(v), gl.FLOAT)
		default:
			err = fmt.Errorf("opengl: shader %s: uniform %s is neither int32 nor float32", p.shader, u.Name)
		}
		if err != nil {
			return nil, err
		}
	}
	for i, ok := range given {
		if !ok && i != p.firstGroup {
			return nil, fmt.Errorf("opengl: shader %s reads %s, which its launch does not give", p.shader, p.uniforms[i].name)
		}
	}
	return set, nil
}

// apply sets what differs from the program's present values. The program is in use.
func (p *program) apply(set []setting) {
	for _, s := range set {
		p.set(s)
	}
}

// start says which workgroup of a launch the next dispatch begins with. The program is in use.
func (p *program) start(group int) {
	if p.firstGroup >= 0 {
		p.set(setting{p.firstGroup, uint32(group)})
	}
}

func (p *program) set(s setting) {
	u := &p.uniforms[s.uniform]
	if u.known && u.value == s.bits {
		return
	}
	u.known, u.value = true, s.bits
	if u.kind == gl.FLOAT {
		gl.Uniform1f(u.location, math.Float32frombits(s.bits))
	} else {
		gl.Uniform1i(u.location, int32(s.bits))
	}
}
