# Finds out what ERB templates use, without running them: reads a JSON list of {"file", "text"} from its standard input and writes a JSON
# list of {"error": [line, message] or null, "uses": [...], "strings": [...]}, in the same order.
#
# A use is {"kind": "p" | "if_p" | "link" | "if_link" | "properties", "names": [...], "line", "default", "receiver"}. Names hold a `*` for
# what is only known when the template is filled in; `properties` without names means all of them.

require 'erb'
require 'json'
require 'ripper'

KINDS = { 'p' => 'p', 'if_p' => 'if_p', 'else_if_p' => 'if_p', 'link' => 'link', 'if_link' => 'if_link', 'else_if_link' => 'if_link' }.freeze
TREES = %w[properties raw_properties].freeze

class Finder
  attr_reader :uses, :strings

  def initialize
    @uses = []
    @strings = []
  end

  def walk(node)
    return unless node.is_a?(Array)
    return if chain(node)
    case node[0]
    when :method_add_arg then call(node[1], arguments(node[2]))
    when :command then used(node[1], arguments(node[2]), false)
    when :command_call then used(node[3], arguments(node[4]), true)
    when :string_literal, :@tstring_content then @strings << name_of(node)
    end
    node.each { |child| walk(child) }
  end

  private

  def call(target, given)
    return unless target.is_a?(Array)
    used(target[1], given, false) if target[0] == :fcall
    used(target[3], given, true) if target[0] == :call
  end

  def used(ident, given, receiver)
    return unless ident.is_a?(Array) && ident[0] == :@ident && KINDS.key?(ident[1])
    kind = KINDS[ident[1]]
    first = given.first
    listed = first.is_a?(Array) && first[0] == :array ? (first[1] || []) : nil
    names = kind == 'if_p' ? given : (listed || [first].compact)
    names = names.flat_map { |item| item.is_a?(Array) && item[0] == :args_add_star ? [nil] : [item] } if names.is_a?(Array)
    @uses << { kind: kind, names: names.map { |item| name_of(item) }, line: line_of(ident), default: given.length > 1, receiver: receiver }
  end

  def arguments(node)
    return [] unless node.is_a?(Array)
    case node[0]
    when :arg_paren then arguments(node[1])
    when :args_add_block then node[1].is_a?(Array) && node[1][0].is_a?(Symbol) ? [nil] : (node[1] || [])
    when Symbol then [nil]
    else node
    end
  end

  # A text, with `*` for the parts that are not known.
  def name_of(node)
    return '*' unless node.is_a?(Array)
    case node[0]
    when :@tstring_content then node[1]
    when :string_literal then (node[1][1..] || []).map { |part| name_of(part) }.join
    when :binary then node[2] == :+ ? name_of(node[1]) + name_of(node[3]) : '*'
    when :paren then name_of(Array(node[1]).first)
    else node[0].is_a?(Array) && node.all? { |part| part.is_a?(Array) } ? node.map { |part| name_of(part) }.join : '*'
    end
  end

  # `properties.a.b`, `raw_properties['a']['b']`, from its outermost call.
  def chain(node)
    names = []
    inner = node
    while (step = step_of(inner))
      names.unshift(step)
      inner = inner[1]
    end
    root = inner.is_a?(Array) && %i[vcall var_ref].include?(inner[0]) ? inner[1] : nil
    return false unless root.is_a?(Array) && root[0] == :@ident
    names.shift if (from_spec = root[1] == 'spec' && names.first == 'properties')
    return false unless from_spec || TREES.include?(root[1])
    @uses << { kind: 'properties', names: names.empty? ? [] : [names.join('.')], line: line_of(root), default: false, receiver: false }
    true
  end

  def step_of(node)
    return nil unless node.is_a?(Array)
    return node[3][1] if node[0] == :call && node[3].is_a?(Array) && %i[@ident @const].include?(node[3][0])
    node[0] == :aref ? name_of(Array(arguments(node[2])).first) : nil
  end

  def line_of(ident)
    ident[2][0] - 1
  end
end

def analyse(file, text)
  source = ERB.new(text, trim_mode: '-').src.dup.force_encoding(Encoding::UTF_8)
  code = "proc do #{source}\nend"
  begin
    RubyVM::InstructionSequence.compile(code, file, file, 0)
  rescue SyntaxError => error
    found = error.message.lines.map { |line| line.match(/\A#{Regexp.escape(file)}:(\d+): (.*)/) }.compact.first
    return { error: [found ? found[1].to_i : nil, found ? found[2] : error.message.lines.last.to_s.strip], uses: [], strings: [] }
  end
  finder = Finder.new
  finder.walk(Ripper.sexp(code))
  { error: nil, uses: finder.uses, strings: finder.strings.uniq }
end

$VERBOSE = nil
puts JSON.generate(JSON.parse($stdin.read).map { |item| analyse(item['file'], item['text']) })
