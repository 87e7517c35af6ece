package tokenize

import "container/heap"

// pairAt is a mergeable pair whose left symbol stands at position at.
type pairAt struct {
	rank, at    int32
	left, right int32 // as they were when the pair was found: a change makes it stale
}

// pairQueue is a heap by rank, then position.
type pairQueue []pairAt

func (q pairQueue) Len() int { return len(q) }
func (q pairQueue) Less(i, j int) bool {
	if q[i].rank != q[j].rank {
		return q[i].rank < q[j].rank
	}
	return q[i].at < q[j].at
}
func (q pairQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *pairQueue) Push(x any)   { *q = append(*q, x.(pairAt)) }
func (q *pairQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// join merges the pair of lowest rank, everywhere from left to right, until no pair can be merged. A linked list and a heap
// keep it at n log n, so that a word of a million letters is no trap.
func (t *Tokenizer) join(symbols []int32) []int32 {
	n := len(symbols)
	next, prev := make([]int, n), make([]int, n)
	for i := range symbols {
		next[i], prev[i] = i+1, i-1
	}
	var queue, found pairQueue
	look := func(i int) {
		if i < 0 || next[i] >= n {
			return
		}
		left, right := symbols[i], symbols[next[i]]
		if m, ok := t.merges[[2]int32{left, right}]; ok {
			found = append(found, pairAt{m.rank, int32(i), left, right})
		}
	}
	for i := range n - 1 {
		look(i)
	}
	const gone = -1
	for {
		// Pairs that a rank's merges make wait until that rank is done, whatever their own rank.
		for _, p := range found {
			heap.Push(&queue, p)
		}
		found = found[:0]
		if len(queue) == 0 {
			break
		}
		for rank := queue[0].rank; len(queue) > 0 && queue[0].rank == rank; {
			p := heap.Pop(&queue).(pairAt)
			i := int(p.at)
			if symbols[i] != p.left || next[i] >= n || symbols[next[i]] != p.right {
				continue
			}
			symbols[i] = t.merges[[2]int32{p.left, p.right}].result
			symbols[next[i]] = gone
			next[i] = next[next[i]]
			if next[i] < n {
				prev[next[i]] = i
			}
			look(prev[i])
			look(i)
		}
	}
	out := symbols[:0]
	for i := 0; i < n; {
		following := next[i]
		out = append(out, symbols[i])
		i = following
	}
	return out
}
