package compute

import (
	"cmp"
	"slices"
)

// Plans on one device take turns in the same slots: only one replays at a time, and nothing in a slot outlives a replay. Each
// plan's largest slot is the device's largest, its second the second, and so on.

// SlotOrder lists the indices of slots of these sizes, the largest first.
func SlotOrder[T cmp.Ordered](sizes []T) []int {
	order := make([]int, len(sizes))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(sizes[b], sizes[a]) })
	return order
}

// SharedSlots is the sizes of the slots in which plans with slots of these sizes take turns, the largest first.
func SharedSlots[T cmp.Ordered](plans ...[]T) []T {
	var shared []T
	for _, sizes := range plans {
		for place, i := range SlotOrder(sizes) {
			if place == len(shared) {
				shared = append(shared, sizes[i])
			}
			shared[place] = max(shared[place], sizes[i])
		}
	}
	return shared
}

// SharedSlotBytes is the memory of the slots in which plans take turns.
func SharedSlotBytes(plans ...*Plan) int64 {
	all := make([][]int64, len(plans))
	for i, p := range plans {
		all[i] = p.Slots
	}
	var n int64
	for _, b := range SharedSlots(all...) {
		n += b
	}
	return n
}
