// Flat indices of a grid that compute.Lowering.Grid folded into two axes. Callers drop indices beyond their work.
// Include it after the workgroup's layout.

uniform int firstGroup; // of this dispatch: long launches come in pieces

// Index of this workgroup.
int group_index() {
    return firstGroup + int(gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x);
}

// Index of this invocation, for one-dimensional workgroups. A macro, since a function would need the local size declared first.
#define invocation_index() (group_index() * int(gl_WorkGroupSize.x) + int(gl_LocalInvocationID.x))
