//go:build cgo

package opengl

/*
// Laptops with two graphics processors give a program that exports these the faster one (NVIDIA's "Optimus rendering policies",
// AMD's PowerXpress); otherwise OpenGL gets the one that saves power.
__declspec(dllexport) unsigned int NvOptimusEnablement = 1;
__declspec(dllexport) int AmdPowerXpressRequestHighPerformance = 1;
*/
import "C"
