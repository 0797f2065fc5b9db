// SPDX-License-Identifier: Apache-2.0

package command

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Manual is what the manual pages of a program have besides what its commands say.
type Manual struct {
	// ExitCodes is the text of the help: lines of a number and what it means.
	ExitCodes string
	// Environment and Files are names with what they are for.
	Environment, Files [][2]string
}

// NewMan returns the command man of a program, which prints its manual page, or writes those of all commands.
func NewMan(m Manual) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "man [flags]",
		Short: "Print the manual page, or write those of all commands",
		Long: "man prints the manual page of the program, for \"man -l -\". With --dir it writes a page\n" +
			"for the program and for each of its commands into a directory. Pages of one version are\n" +
			"the same whenever they are made: their date is $SOURCE_DATE_EPOCH or that of the commit.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &UsageError{Err: fmt.Errorf("unexpected argument %q", args[0])}
			}
			return nil
		},
		// Pages need no configuration.
		PersistentPreRunE: func(*cobra.Command, []string) error { return nil },
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			date, err := pageDate()
			if err != nil {
				return err
			}
			if dir == "" {
				_, err := cmd.OutOrStdout().Write(m.page(cmd.Root(), date))
				return err
			}
			return m.write(cmd.Root(), dir, date)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "write the pages of all commands into this `directory`")
	CompleteFlags(cmd, map[string]cobra.CompletionFunc{"dir": Directories})
	return cmd
}

// pageDate returns the date that pages show, "" where nothing says one.
func pageDate() (string, error) {
	if text := os.Getenv("SOURCE_DATE_EPOCH"); text != "" {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return "", &UsageError{Err: fmt.Errorf("SOURCE_DATE_EPOCH %q is no number of seconds", text)}
		}
		return time.Unix(seconds, 0).UTC().Format(time.DateOnly), nil
	}
	info, _ := debug.ReadBuildInfo()
	if info != nil {
		for _, s := range info.Settings {
			if date, _, ok := strings.Cut(s.Value, "T"); ok && s.Key == "vcs.time" {
				return date, nil
			}
		}
	}
	return "", nil
}

// write writes the pages of a command and of those below it.
func (m *Manual) write(cmd *cobra.Command, dir, date string) error {
	name := filepath.Join(dir, pageName(cmd)+".1")
	if err := os.WriteFile(name, m.page(cmd, date), 0o644); err != nil {
		return fmt.Errorf("write a manual page: %w", err)
	}
	for _, sub := range cmd.Commands() {
		if !hasPage(sub) {
			continue
		}
		if err := m.write(sub, dir, date); err != nil {
			return err
		}
	}
	return nil
}

// hasPage reports whether a command has a page: not those of cobra's below completion.
func hasPage(cmd *cobra.Command) bool {
	return cmd.IsAvailableCommand() && !cmd.IsAdditionalHelpTopicCommand() && cmd.Name() != "help" &&
		!(cmd.HasParent() && cmd.Parent().Name() == "completion")
}

func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// page returns the page of a command.
func (m *Manual) page(cmd *cobra.Command, date string) []byte {
	cmd.InitDefaultHelpFlag()
	var b strings.Builder
	name := pageName(cmd)
	version := cmd.Root().Version
	fmt.Fprintf(&b, "%% %q \"1\" %q %q %q\n", strings.ToUpper(name), date, "weir "+version, "weir manual")
	fmt.Fprintf(&b, "# NAME\n%s - %s\n\n", name, plain(cmd.Short))
	fmt.Fprintf(&b, "# SYNOPSIS\n%s\n\n", plain(cmd.UseLine()))
	long := cmd.Long
	if long == "" {
		long = cmd.Short
	}
	b.WriteString("# DESCRIPTION\n" + paragraphs(long) + "\n")
	writeFlags(&b, "OPTIONS", cmd.NonInheritedFlags())
	writeFlags(&b, "OPTIONS OF EVERY COMMAND", cmd.InheritedFlags())
	if cmd.Example != "" {
		b.WriteString("# EXAMPLES\n" + indented(cmd.Example) + "\n")
	}
	if codes := exitCodes(m.ExitCodes); len(codes) > 0 {
		b.WriteString("# EXIT STATUS\n")
		writeTerms(&b, codes)
	}
	b.WriteString("# ENVIRONMENT\n")
	writeTerms(&b, m.Environment)
	b.WriteString("# FILES\n")
	writeTerms(&b, m.Files)
	var also []string
	if cmd.HasParent() {
		also = append(also, "**"+pageName(cmd.Parent())+"**(1)")
	}
	for _, sub := range cmd.Commands() {
		if hasPage(sub) {
			also = append(also, "**"+pageName(sub)+"**(1)")
		}
	}
	if len(also) > 0 {
		b.WriteString("# SEE ALSO\n" + strings.Join(also, ", ") + "\n")
	}
	return md2man.Render([]byte(b.String()))
}

// plain returns a text as Markdown that shows it as it is.
func plain(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '&':
			b.WriteString("&amp;")
			continue
		case strings.ContainsRune("\\`*_{}[]<>#+-!|~", r):
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// paragraphs returns the text of a help: lines that are indented keep their breaks.
func paragraphs(text string) string {
	var b strings.Builder
	code := false
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, "  ") {
			if !code {
				b.WriteByte('\n')
			}
			code = true
			b.WriteString("    " + line + "\n")
			continue
		}
		if code && line != "" {
			b.WriteByte('\n')
		}
		code = false
		b.WriteString(plain(line) + "\n")
	}
	return b.String()
}

// indented returns a text that keeps its lines.
func indented(text string) string {
	return "    " + strings.ReplaceAll(text, "\n", "\n    ") + "\n"
}

func writeFlags(b *strings.Builder, title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	b.WriteString("# " + title + "\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Deprecated != "" {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		name := "**--" + plain(f.Name) + "**"
		if f.Shorthand != "" {
			name = "**-" + plain(f.Shorthand) + "**, " + name
		}
		switch {
		case value != "" && f.NoOptDefVal != "":
			name += "[=*" + plain(value) + "*]"
		case value != "":
			name += " *" + plain(value) + "*"
		}
		fmt.Fprintf(b, "%s\n: %s\n\n", name, plain(usage))
	})
}

// writeTerms writes terms with what they mean.
func writeTerms(b *strings.Builder, terms [][2]string) {
	for _, t := range terms {
		fmt.Fprintf(b, "**%s**\n: %s\n\n", plain(t[0]), plain(t[1]))
	}
}

// exitCodes reads the text of the help.
func exitCodes(text string) (codes [][2]string) {
	code := regexp.MustCompile(`^ +(\d+) +(.*)$`)
	for line := range strings.SplitSeq(text, "\n") {
		switch match := code.FindStringSubmatch(line); {
		case match != nil:
			codes = append(codes, [2]string{match[1], match[2]})
		case len(codes) > 0 && strings.TrimSpace(line) != "":
			codes[len(codes)-1][1] += " " + strings.TrimSpace(line)
		}
	}
	return codes
}
