package cli

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/pelletier/go-toml/v2"
)

// ConfigFile is a flag that names a TOML file with values for the other flags of its command. A key is the name of
// a flag; its value is a string, number, true or false, date, or a list of these. A key that is no flag is an error.
type ConfigFile string

// BeforeResolve is called by kong once the command line is parsed, and adds what the file says.
func (ConfigFile) BeforeResolve(command *kong.Context, at *kong.Path) error {
	return useConfig(command, string(command.FlagValue(at.Flag).(ConfigFile)))
}

// useConfig has the flags of the command take the values of a file.
func useConfig(command *kong.Context, path string) error {
	values, err := readConfig(path)
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if err := checkKey(command, key, values[key]); err != nil {
			return fmt.Errorf("configuration file %s: %w", path, err)
		}
	}
	command.AddResolver(kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		if value, ok := values[flag.Name]; ok && !isDefault(flag, value) {
			return value, nil
		}
		return nil, nil
	}))
	return nil
}

// readConfig returns the values of a TOML file as they would be written on the command line.
func readConfig(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if pathError, ok := errors.AsType[*os.PathError](err); ok {
		return nil, fmt.Errorf("cannot read the configuration file %s: %w", path, pathError.Err)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration file %s: %w", path, err)
	}
	var parsed map[string]any
	if err := toml.Unmarshal(text, &parsed); err != nil {
		if at, ok := errors.AsType[*toml.DecodeError](err); ok {
			row, column := at.Position()
			return nil, fmt.Errorf("configuration file %s, line %d, column %d: %w", path, row, column, err)
		}
		return nil, fmt.Errorf("configuration file %s: %w", path, err)
	}
	values := make(map[string]string, len(parsed))
	for key, value := range parsed {
		if values[key], err = asArgument(value); err != nil {
			return nil, fmt.Errorf("configuration file %s: %s: %w", path, key, err)
		}
	}
	return values, nil
}

// asArgument writes a TOML value as the command line would: a list with commas.
func asArgument(value any) (string, error) {
	switch v := value.(type) {
	case string, int64, float64, bool, toml.LocalDate, toml.LocalDateTime:
		return fmt.Sprint(v), nil
	case time.Time:
		return v.Format(time.RFC3339), nil
	case []any:
		items := make([]string, len(v))
		for i, item := range v {
			var err error
			if items[i], err = asArgument(item); err != nil {
				return "", err
			}
		}
		if n := len(items); n > 0 && items[n-1] == "" {
			items = append(items, "") // kong takes no notice of what is empty behind the last comma
		}
		return strings.Join(items, ","), nil
	}
	return "", errors.New("a string, a number, true or false, a date, or a list of these is needed")
}

// isDefault reports whether a key leaves a flag that has no default as it is, as sample files do: an empty string or list.
func isDefault(flag *kong.Flag, value string) bool {
	return value == "" && !flag.HasDefault && !flag.Required
}

// checkKey finds out whether a flag of this name exists and takes this value, so that the error can name the file.
func checkKey(command *kong.Context, key, value string) error {
	var names []string
	for _, flag := range command.Selected().Flags {
		if flag.Target.Type() == reflect.TypeFor[ConfigFile]() {
			continue
		}
		if flag.Name == key && isDefault(flag, value) {
			return nil
		}
		if flag.Name == key {
			scratch := reflect.New(flag.Target.Type()).Elem()
			scan := kong.Scan().PushTyped(value, kong.FlagValueToken)
			if err := flag.Mapper.Decode(&kong.DecodeContext{Value: flag.Value, Scan: scan}, scratch); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			return nil
		}
		names = append(names, flag.Name)
	}
	return fmt.Errorf("unknown key %q; the keys are %s", key, strings.Join(names, ", "))
}
