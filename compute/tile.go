package compute

// tile is a launch of shaders/include/tile.glsl: result[m, n] = Σ left[m, k]·right[k, n] in each part, then bias, activation
// and residual. Products and convolutions lower to it.
type tile struct {
	shader   string
	defines  map[string]string
	reads    []Operand
	uniforms []Uniform
	parts    int
	m, n     int // of a part's result
	steps    int // of 4 along the inner axis
	segment  int // steps of 4 in a segment
	groups   int // parts that lie side by side in a row of the result
	act      Act
	bias     *Tensor // [channels], or [pictures channels]
	pixels   int     // rows of the result in a picture
	residual *Tensor
	adds     bool // the tile adds the residual itself
	tall     bool // workgroups should rather be high than wide: long inner axes, whose columns then stay in a core's cache
}

const (
	// directColumns is the width of the tile that an invocation of the direct form keeps.
	directColumns = 16
	// directRows is its height, and fewRows its height where the whole result is no higher.
	directRows, fewRows = 16, 4
	// directLanes is the number of invocations in a workgroup of the direct form.
	directLanes = 8
	// sharedTile is the extent of a workgroup's tile in the shared form.
	sharedTile = 64
	// splitSteps is the least number of inner steps worth a workgroup of its own.
	splitSteps = 64
	// fewGroups is the number of workgroups under which the inner axis is split, so that all cores have work.
	fewGroups = 8
)

// onePictureRows is the height of the tiles for which the shaders fetch one bias.
const onePictureRows = 16

// whole reports whether the shader can store the final result, for the inner axis in one piece: rows of whole texels, no
// activation, no residual that it does not add.
func (t *tile) whole() bool {
	return t.n%4 == 0 && t.act == ActNone && (t.residual == nil || t.adds)
}

// pitch is the texels between the result's rows as the shader stores them, and between groups; with them come the rows in all
// and the texels of the whole. Groups lie side by side in a row, or one after the other where they do not fill texels.
func (t *tile) pitch(n *Tensor) (row, group, positions, partial int) {
	row, positions = ceilDiv(t.n, 4), n.shape.Size()/n.shape.Last()
	if t.n%4 == 0 {
		return row * t.groups, row, positions, row * t.groups * positions
	}
	return row, row * positions, positions, row * positions * t.groups
}

// lower gives one launch, or two where something is left to tile_sum.
func (t *tile) lower(n *Tensor, lw *Lowering) []Launch {
	rows := directRows
	if t.m <= fewRows {
		rows = fewRows
	}
	shift, direct := laneShift(t.m, t.n, rows, t.tall)
	direct *= t.parts
	splits := 1
	if direct < fewGroups {
		splits = max(min(ceilDiv(fewGroups, direct), t.steps/splitSteps), 1)
	}
	each := ceilDiv(t.steps, splits)
	splits = ceilDiv(t.steps, each)
	direct *= splits
	if packed := ceilDiv(ceilDiv(t.m, rows)*ceilDiv(t.n, directColumns)*t.parts*splits, directLanes); 10*packed < 9*direct {
		shift, direct = -1, packed // small results, such as gradients of weights, leave too many invocations idle
	}
	shared := ceilDiv(t.m, sharedTile) * ceilDiv(t.n, sharedTile)

	done := splits == 1 && t.whole()
	row, group, _, partial := t.pitch(n)
	l := Launch{
		Shader:  t.shader,
		Defines: t.defines,
		Reads:   t.reads,
		Writes:  []Operand{Write(n)},
		Uniforms: append(t.uniforms,
			Int("rows", t.m), Int("columns", t.n), Int("parts", t.parts), Int("steps", t.steps), Int("segmentSteps", t.segment),
			Int("splits", splits), Int("splitSteps", each), Int("partial", partial), Int("laneShift", shift),
			Int("pitch", row), Int("groupPitch", group)),
		Forms: []Form{
			{Name: "direct", Defines: map[string]string{"TILE_DIRECT": "1", "TILE_M": itoa(rows)}, Groups: lw.Grid(direct)},
			{Name: "shared", Defines: map[string]string{"TILE_SHARED": "1"}, Groups: lw.Grid(shared * t.parts * splits)},
		},
	}
	if !done {
		sums := lw.Scratch(splits * partial * 4)
		l.Writes = []Operand{sums}
		l.Reads = append(l.Reads, absent(l.Reads[0], "Bias"))
		l.Uniforms = append(l.Uniforms, Int("biasStep", -1))
		return []Launch{l, t.sum(n, lw, sums, splits)}
	}
	bias, step := t.biasOperand(4, l.Reads[0])
	l.Reads = append(l.Reads, bias)
	l.Uniforms = append(l.Uniforms, Int("biasStep", step))
	if t.residual != nil {
		l.Defines["RESIDUAL"] = "1"
		l.Reads = append(l.Reads, Read("Residual", t.residual, 4))
	}
	return []Launch{l}
}

// sum ends what the tile left as partial sums.
func (t *tile) sum(n *Tensor, lw *Lowering, sums Operand, splits int) Launch {
	row, _, positions, partial := t.pitch(n)
	quad, width, channels, perGroup := t.n%4 == 0, 1, n.shape.Last(), t.n
	if quad { // the sums lie as the result does
		width, perGroup = 4, channels
	}
	bias, step := t.biasOperand(width, sums)
	residual, has := absent(sums, "Residual"), 0
	residual.Width = width
	if t.residual != nil {
		residual, has = Read("Residual", t.residual, width), 1
	}
	return elementwise(n, lw, "tile_sum", quad, map[string]string{"ACT": t.act.GLSL()},
		[]Operand{ReadScratch("X", sums, width), bias, residual},
		Int("splits", splits), Int("partial", partial*4/width), Int("channels", channels/width), Int("group", perGroup/width),
		Int("positions", positions), Int("pitch", row*4/width), Int("biasStep", step), Int("pixels", max(t.pixels, 1)), Int("hasResidual", has))
}

// biasOperand is the bias, read width elements at a time, and the step between its rows as the shaders want it.
func (t *tile) biasOperand(width int, other Operand) (Operand, int) {
	switch {
	case t.bias == nil:
		o := absent(other, "Bias")
		o.Width = width
		return o, -1
	case len(t.bias.shape) == 2:
		return Read("Bias", t.bias, width), t.bias.shape[1] / width
	}
	return Read("Bias", t.bias, width), 0
}

// absent stands for an operand that a launch has not: a buffer that is there, never fetched under this name. So one program
// serves with and without.
func absent(other Operand, name string) Operand {
	other.Name = name
	return other
}

// laneShift arranges a workgroup's tiles, 8>>shift high and 1<<shift wide, to cover m×n with the fewest groups; near squares
// first, since they fetch least.
func laneShift(m, n, rows int, tall bool) (shift, groups int) {
	order := []int{2, 1, 3, 0}
	if tall {
		order = []int{1, 2, 0, 3}
	}
	for _, s := range order {
		g := ceilDiv(m, directLanes>>s*rows) * ceilDiv(n, directColumns<<s)
		if groups == 0 || g < groups {
			shift, groups = s, g
		}
	}
	return shift, groups
}
