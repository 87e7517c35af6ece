package prompt

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Phase is the text that holds up to and including step Until; steps are counted from 1.
type Phase struct {
	Until int
	Text  string
}

// Schedule gives the texts of a prompt over a run of steps, the last one up to the last step:
//
//	[from:to:when]  is "from" up to step when, then "to"; a number with a point is a fraction of all steps
//	[to:when]       is nothing, then "to"
//	[from::when]    is "from", then nothing
//	[a|b|c]         is a at step 1, b at step 2, c at step 3, a at step 4 …
//
// They nest. Brackets that are none of these stay as they are, for Attention. A text that is not well formed outside of
// brackets (a | on its own, a backslash at its end) is taken as it is.
func Schedule(text string, steps int) []Phase {
	p := parser{text: text, steps: steps, known: map[int]*parsed{}}
	nodes, ok := p.top()
	if !ok {
		return []Phase{{steps, text}}
	}
	ends := append(p.ends, steps)
	slices.Sort(ends)
	ends = slices.Compact(ends)
	var out []Phase
	for _, end := range ends {
		var b strings.Builder
		for _, n := range nodes {
			n.at(end, &b)
		}
		if b.Len() > maxText {
			return []Phase{{steps, text}}
		}
		if last := len(out) - 1; last >= 0 && out[last].Text == b.String() {
			out[last].Until = end
			continue
		}
		out = append(out, Phase{end, b.String()})
	}
	return out
}

// At is the text that holds at a step; phases are as Schedule gives them.
func At(phases []Phase, step int) string {
	for _, p := range phases {
		if step <= p.Until {
			return p.Text
		}
	}
	return phases[len(phases)-1].Text
}

// maxText bounds prompts, in bytes: some 8,000 words, with which a step of the denoiser still takes no minutes. Schedule takes
// longer ones as words.
const maxText = 1 << 14

// node is a part of a parsed prompt: words, a change at a step, or an alternation.
type node struct {
	words string
	parts [][]node // "from" and "to", or the alternatives
	when  int      // last step of "from"; 0 or less shows "to" from the start
	turns bool     // an alternation
}

// at writes what the node is at a step.
func (n node) at(step int, b *strings.Builder) {
	b.WriteString(n.words)
	if n.parts == nil {
		return
	}
	part := n.parts[1%len(n.parts)]
	if n.turns {
		part = n.parts[(step-1)%len(n.parts)]
	} else if step <= n.when {
		part = n.parts[0]
	}
	for _, inner := range part {
		inner.at(step, b)
	}
}

// parser reads the grammar
//
//	start      = { prompt | any of []():  }
//	prompt     = { emphasised | scheduled | alternate | plain }
//	emphasised = "(" prompt ")" | "(" prompt ":" prompt ")" | "[" prompt "]"
//	scheduled  = "[" [ prompt ":" ] prompt ":" number "]"
//	alternate  = "[" prompt { "|" prompt } "]"
//	plain      = any other characters than \[]():| or a backslash and a character
type parser struct {
	text  string
	steps int
	ends  []int           // steps after which something changes
	known map[int]*parsed // brackets by where they open: reading one again would take time to the power of the depth
}

// parsed is a bracket and where the text goes on after it; nil nodes: there is none.
type parsed struct {
	nodes []node
	next  int
	ends  []int
}

// top reads the whole text; a bracket that is not well formed is a character.
func (p *parser) top() (nodes []node, ok bool) {
	if len(p.text) > maxText || p.steps < 1 {
		return nil, false
	}
	at := 0
	for at < len(p.text) {
		inner, next := p.prompt(at)
		nodes, at = append(nodes, inner...), next
		if at == len(p.text) {
			break
		}
		if !strings.ContainsRune("[]():", rune(p.text[at])) {
			return nil, false
		}
		nodes = append(nodes, node{words: p.text[at : at+1]})
		at++
	}
	return nodes, true
}

// prompt reads as far as the grammar allows, and says where that is.
func (p *parser) prompt(at int) (nodes []node, next int) {
	for at < len(p.text) {
		switch c := p.text[at]; c {
		case '(', '[':
			b := p.bracket(at)
			if b.nodes == nil {
				return nodes, at
			}
			nodes, at = append(nodes, b.nodes...), b.next
			p.ends = append(p.ends, b.ends...)
		case ')', ']', ':', '|':
			return nodes, at
		default:
			end := p.plain(at)
			if end == at { // a backslash at the end
				return nodes, at
			}
			nodes, at = append(nodes, node{words: p.text[at:end]}), end
		}
	}
	return nodes, at
}

// plain is where the words that begin at a place end.
func (p *parser) plain(at int) int {
	for at < len(p.text) {
		switch c := p.text[at]; {
		case c == '\\':
			if at+1 == len(p.text) || p.text[at+1] == '\n' {
				return at
			}
			at++
		case strings.IndexByte("[]():|", c) >= 0:
			return at
		}
		at++
	}
	return at
}

// bracket reads the bracket that opens at a place.
func (p *parser) bracket(at int) *parsed {
	if b, ok := p.known[at]; ok {
		return b
	}
	b := &parsed{}
	p.known[at] = b
	before := p.ends
	p.ends = nil
	p.read(at, b)
	if b.nodes != nil {
		b.ends = append(b.ends, p.ends...)
	}
	p.ends = before
	return b
}

// number is a when: digits with or without a point, white space around.
var number = regexp.MustCompile(`^\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*$`)

func (p *parser) read(open int, b *parsed) {
	var parts [][]node
	var starts []int
	var separator byte
	at := open + 1
	for {
		starts = append(starts, at)
		nodes, next := p.prompt(at)
		parts = append(parts, nodes)
		if at = next; at == len(p.text) {
			return
		}
		c := p.text[at]
		at++
		if c == ')' || c == ']' {
			break
		}
		if c != ':' && c != '|' || separator != 0 && c != separator {
			return
		}
		separator = c
	}
	closing, end, last := p.text[at-1], at, starts[len(starts)-1]
	switch {
	case p.text[open] == '(' && closing == ')' && separator != '|' && len(parts) <= 2, p.text[open] == '[' && closing == ']' && separator == 0:
		b.nodes = append(b.nodes, node{words: p.text[open : open+1]})
		for i, part := range parts {
			if i > 0 {
				b.nodes = append(b.nodes, node{words: ":"})
			}
			b.nodes = append(b.nodes, part...)
		}
		b.nodes = append(b.nodes, node{words: string(closing)})
	case p.text[open] != '[' || closing != ']':
		return
	case separator == '|':
		for step := range p.steps {
			b.ends = append(b.ends, step+1)
		}
		b.nodes = []node{{parts: parts, turns: true}}
	default:
		m := number.FindStringSubmatch(p.text[last : end-1])
		if m == nil || len(parts) > 3 {
			return
		}
		when, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return
		}
		if strings.Contains(m[1], ".") {
			when *= float64(p.steps)
		}
		n := node{parts: parts[:len(parts)-1], when: int(max(min(when, float64(p.steps)), -1))}
		if len(n.parts) == 1 {
			n.parts = [][]node{nil, n.parts[0]}
		}
		if n.when >= 1 {
			b.ends = append(b.ends, n.when)
		}
		b.nodes = []node{n}
	}
	b.next = end
}
