package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// writeComponents writes the list of modules in the programs (SBOM), in the format of CycloneDX.
func (r *release) writeComponents(platforms []string) (err error) {
	bom := cdx.NewBOM()
	suite := cdx.Component{
		BOMRef: "teredo", Type: cdx.ComponentTypeApplication, Name: "teredo", Version: r.version,
		Licenses: &cdx.Licenses{{License: &cdx.License{ID: "BSD-3-Clause"}}},
	}
	bom.Metadata = &cdx.Metadata{Timestamp: r.time.Format("2006-01-02T15:04:05Z"), Component: &suite}
	components := make(map[string]cdx.Component)
	contains := []cdx.Dependency{{Ref: suite.BOMRef, Dependencies: &programs}}
	for _, program := range programs {
		components[program] = cdx.Component{BOMRef: program, Type: cdx.ComponentTypeApplication, Name: program, Version: r.version}
		modules, err := r.modules(program, platforms)
		if err != nil {
			return err
		}
		var refs []string
		for _, path := range slices.Sorted(maps.Keys(modules)) {
			ref := fmt.Sprintf("pkg:golang/%s@%s", path, modules[path].Version)
			components[ref] = cdx.Component{BOMRef: ref, Type: cdx.ComponentTypeLibrary, Name: path, Version: modules[path].Version, PackageURL: ref}
			refs = append(refs, ref)
		}
		contains = append(contains, cdx.Dependency{Ref: program, Dependencies: &refs})
	}
	var all []cdx.Component
	for _, ref := range slices.Sorted(maps.Keys(components)) {
		all = append(all, components[ref])
	}
	bom.Components, bom.Dependencies = &all, &contains
	to, err := os.Create(filepath.Join(r.out, "teredo-"+r.version+".cdx.json"))
	if err != nil {
		return err
	}
	encoder := cdx.NewBOMEncoder(to, cdx.BOMFileFormatJSON).SetPretty(true)
	return errors.Join(encoder.Encode(bom), to.Close())
}
