# Fills in ERB templates for the director, batch by batch, until its standard input ends.
#
# One batch is a line with the length of a JSON header, the header, and the raw bytes that the header gives the lengths of:
#   {"define": [[id, file, bytes]], "texts": [bytes], "jobs": [[bytes of the spec, text of properties, text of links, [id]]], "seconds": s}
# in this order; texts are numbered from 0, since many jobs share them.
# The answer is one such frame for each job, in order: {"results": [["ok", bytes] | ["error", line, message]]}
# so that the director knows which job it was when this process dies.

require 'erb'
require 'json'
require 'ostruct'
require 'yaml'
require 'shellwords'

class Object
  def blank?
    respond_to?(:empty?) ? !!empty? : !self
  end

  def present?
    !blank?
  end
end

class String
  def blank?
    match?(/\A[[:space:]]*\z/)
  end
end

module Caisson
  class UnknownProperty < StandardError
    def initialize(names)
      super("Can't find property '#{names.inspect}'")
    end
  end

  class UnknownLink < StandardError
    def initialize(name)
      super("Can't find link '#{name}'")
    end
  end

  class TookTooLong < Exception; end

  # A map whose keys are read as methods; children are converted when they are asked for. Behaves as OpenStruct does,
  # without its cost of defining a method for each key.
  class Node
    def self.wrap(value)
      case value
      when Hash then new(value)
      when Array then value.map { |item| wrap(item) }
      else value
      end
    end

    def initialize(source)
      @table = {}
      @raw = {}
      source.each do |key, value|
        name = key.to_s.to_sym
        @raw[name] = value
        define_singleton_method(name) { self[name] } if Node.public_method_defined?(name)
      end
    end

    def [](key)
      name = key.to_sym
      return @table[name] if @table.key?(name)
      @raw.key?(name) ? @table[name] = Node.wrap(@raw[name]) : nil
    end

    def []=(key, value)
      @raw[key.to_sym] = value
      @table[key.to_sym] = value
    end

    def dig(key, *rest)
      found = self[key]
      rest.empty? || found.nil? ? found : found.dig(*rest)
    end

    def to_h
      @raw.keys.each { |name| self[name] }
      @raw.keys.to_h { |name| [name, @table[name]] }
    end

    alias marshal_dump to_h

    def each_pair(&block)
      to_h.each_pair(&block)
    end

    def methods(all = true)
      all ? super : @raw.keys
    end

    def respond_to_missing?(name, include_all = false)
      @raw.key?(name.to_s.chomp('=').to_sym) || super
    end

    def method_missing(name, *arguments)
      if name.end_with?('=')
        self[name.to_s.chomp('=')] = arguments.first
      elsif arguments.empty?
        self[name]
      else
        super
      end
    end

    def ==(other)
      other.is_a?(Node) && to_h == other.to_h
    end

    def inspect
      '#<properties>'
    end
    alias to_s inspect
  end

  # What follows `if_p` and `if_link`: a branch was taken ...
  class Taken
    def else; end

    def else_if_p(*)
      self
    end

    def else_if_link(*)
      self
    end
  end

  # ... or was not.
  class NotTaken
    def initialize(context)
      @context = context
    end

    def else
      yield
    end

    def else_if_p(*names, &block)
      @context.if_p(*names, &block)
    end

    def else_if_link(name, &block)
      @context.if_link(name, &block)
    end
  end

  module Properties
    def p(*arguments)
      names = Array(arguments[0])
      names.each do |name|
        value = lookup(raw_properties, name)
        return value unless value.nil?
      end
      return arguments[1] if arguments.length == 2
      raise UnknownProperty.new(names)
    end

    def if_p(*names)
      values = names.map do |name|
        value = lookup(raw_properties, name)
        return NotTaken.new(self) if value.nil?
        value
      end
      yield(*values)
      Taken.new
    end

    private

    def lookup(tree, name)
      return nil if tree.nil?
      name.split('.').each do |key|
        tree = tree[key]
        return nil if tree.nil?
      end
      tree
    end
  end

  class LinkInstance
    include Properties
    attr_reader :name, :index, :id, :az, :address, :bootstrap, :properties

    def initialize(fields, properties)
      @name, @index, @id, @az, @address, @bootstrap =
        fields.values_at('name', 'index', 'id', 'az', 'address', 'bootstrap')
      @properties = fields['properties'] || properties
    end

    def inspect
      "#<link instance #{@name}/#{@index}>"
    end

    private

    def raw_properties
      @properties
    end
  end

  class Link
    include Properties
    attr_reader :instances, :properties

    STATUSES = { 'unhealthy' => 1, 'healthy' => 3, 'all' => 4 }.freeze

    def initialize(fields)
      @fields = fields
      @properties = fields['properties'] || {}
      @instances = fields['instances'].map { |instance| LinkInstance.new(instance, @properties) }
    end

    def address(options = {})
      options = (options || {}).transform_keys(&:to_sym)
      dns = @fields['dns']
      return @fields['address'] if dns.nil?
      codes = ["s#{STATUSES.fetch(options[:status].to_s, 0)}"]
      Array(options[:azs]).each do |az|
        raise "Unknown AZ: '#{az}'" unless dns['azs'].key?(az)
        codes << "a#{dns['azs'][az]}"
      end
      check = { 'synchronous' => 'y1', 'asynchronous' => 'y0' }[options[:initial_health_check].to_s]
      codes << check if check
      if dns['short']
        codes << "n#{dns['network']}"
        codes << "m#{dns['instances'].fetch(options[:uuid], 0)}" if options[:uuid]
      elsif options[:uuid]
        return "#{options[:uuid]}.#{dns['suffix']}"
      end
      "q-#{codes.sort.join}.#{dns['suffix']}"
    end

    def inspect
      '#<link>'
    end

    private

    def raw_properties
      @properties
    end
  end

  # What a template sees. Each template gets its own, parsed afresh, so that none sees what another changed.
  class Context
    include Properties

    def initialize(spec, properties, links)
      @spec_text = spec
      @properties_text = properties
      @links_text = links
    end

    def name
      job = raw_spec['job']
      job.is_a?(Hash) ? job['name'] : nil
    end

    def index
      raw_spec['index']
    end

    def properties
      @properties ||= Node.wrap(raw_properties)
    end

    def raw_properties
      return @raw_properties if defined?(@raw_properties)
      @raw_properties = parsed(@properties_text)
    end

    def spec
      @spec ||= Node.wrap(raw_spec.merge('properties' => raw_properties, 'links' => raw_links))
    end

    def link(name)
      found = lookup(raw_links, name)
      raise UnknownLink.new(name) if found.nil? || !found.key?('instances')
      Link.new(found)
    end

    def if_link(name)
      found = lookup(raw_links, name)
      return NotTaken.new(self) if found.nil? || !found.key?('instances')
      yield Link.new(found)
      Taken.new
    end

    def inspect
      '#<template context>'
    end

    private

    def raw_spec
      @raw_spec ||= parsed(@spec_text)
    end

    def raw_links
      @raw_links ||= parsed(@links_text)
    end

    def parsed(text)
      JSON.parse(text, max_nesting: false, allow_nan: true)
    end
  end

  # A compiled template.
  class Template
    def initialize(file, text)
      @file = file
      @text = text
    end

    def fill_in(context)
      @code ||= compile
      ['ok', context.instance_exec(&@code).to_s]
    rescue Exception => error # rubocop:disable Lint/RescueException - a template may raise anything, `exit` included
      raise if error.is_a?(SignalException) || error.is_a?(NoMemoryError)
      message = error.is_a?(SystemExit) ? 'the template ended the process' : error.message
      ['error', line_of(error), message]
    end

    private

    # A block, not a method: constants and classes may be defined in it. Line 0 is ERB's own first line.
    def compile
      source = ERB.new(@text, trim_mode: '-').src.dup.force_encoding(Encoding::UTF_8)
      eval("proc do #{source}\nend", TOPLEVEL_BINDING.dup, @file, 0)
    end

    def line_of(error)
      place = (error.backtrace || []).find { |entry| entry.start_with?("#{@file}:") }
      place ? place[(@file.length + 1)..].to_i : nil
    end
  end

  class Worker
    def initialize(input, output)
      @input = input
      @output = output
      @templates = {}
      @deadline = nil
    end

    def run
      watch(Thread.current)
      while (length = @input.gets)
        batch(JSON.parse(@input.read(length.to_i)))
      end
    end

    private

    def batch(header)
      header['define'].each { |id, file, bytes| @templates[id] = Template.new(file, text(bytes)) }
      texts = header['texts'].map { |bytes| text(bytes) }
      jobs = header['jobs'].map { |bytes, properties, links, ids| [[text(bytes), texts[properties], texts[links]], ids] }
      jobs.each { |document, ids| answer(ids.map { |id| fill_in(@templates[id], document, header['seconds']) }) }
    end

    def text(bytes)
      (@input.read(bytes) || '').force_encoding(Encoding::UTF_8)
    end

    def fill_in(template, document, seconds)
      @deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + seconds
      template.fill_in(Context.new(*document))
    ensure
      @deadline = nil
    end

    def answer(results)
      bodies = results.map { |status, value,| status == 'ok' ? value.b : nil }
      shapes = results.each_with_index.map do |(status, line, message), number|
        status == 'ok' ? ['ok', bodies[number].bytesize] : ['error', line, message.to_s.dup.force_encoding(Encoding::UTF_8).scrub]
      end
      header = JSON.generate('results' => shapes)
      @output.write("#{header.bytesize}\n", header, *bodies.compact)
      @output.flush
    end

    def watch(worker)
      Thread.new do
        loop do
          sleep 0.25
          deadline = @deadline
          next unless deadline && Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
          @deadline = nil
          worker.raise(TookTooLong, 'the template took too long')
        end
      end
    end
  end
end

# Templates may print and read; the director's channel is not theirs.
$VERBOSE = nil
Process.setrlimit(Process::RLIMIT_CORE, 0)
caisson_input = $stdin.dup.binmode
caisson_output = $stdout.dup.binmode
$stdin.reopen(File::NULL)
$stdout.reopen(File::NULL)
caisson_output.write("ready\n")
caisson_output.flush
Caisson::Worker.new(caisson_input, caisson_output).run
