// Package train trains models.
package train
