"""What does a user ask for? Prompt and output lengths and the rate of requests."""

from codesign.core.quantities import Factor, Fraction, RequestsPerSecond, Tokens
from codesign.core.record import Record


class Request(Record):
    """Distribution of requests.

    ``output_variation`` is the coefficient of variation of output lengths
    (0: all equal). ``rate`` is the open-loop arrival rate; 0 means closed
    loop, in which the deployment's ``batch`` is given instead.
    ``lifetime_tokens`` are all that the model will ever write; 0 means unknown.
    """

    prompt_length: Tokens
    output_length: Tokens
    output_variation: Factor
    rate: RequestsPerSecond
    prefix_hit_fraction: Fraction
    lifetime_tokens: Tokens = 0.0
