"""Where the next request goes: policy, decisions, planner, what-if, opportunities."""
